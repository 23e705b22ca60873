"""What decisions prove about the model and about reviewers."""
