"""One logistic regression of patients who stay at their hospitals."""
