"""One layer seen closely: how its weights lie, what a scheme makes of them, where it errs, and the very bits that are stored."""
