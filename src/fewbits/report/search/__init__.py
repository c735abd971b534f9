"""Pages of what `sensitivity` and `tune` found: `tuned_page(...)` and `sensitivity_page(...)`."""
