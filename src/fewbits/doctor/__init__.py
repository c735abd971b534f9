"""What this machine can do: its limits, what each layer takes on it, and how fast a model would be, told beforehand."""
