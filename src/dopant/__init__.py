"""Swap the components of a neural network one at a time and measure honestly what each swap did."""
