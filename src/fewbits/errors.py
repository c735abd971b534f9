"""What goes wrong by the user's hand: one clear line that names the layer or file, the value and the way out."""


class FewbitsError(ValueError):
    """Bad input. The message is one line, fit to be printed as it is; the command line exits with 2."""


class MisfitError(FewbitsError):
    """A format cannot cut this layer's weight into its groups (see `--on-misfit`)."""
