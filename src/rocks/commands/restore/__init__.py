"""Commands that bring an earlier state back."""
