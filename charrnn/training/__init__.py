"""Training: a plan is made once, then followed step by step to a saved model."""
