"""Sites elsewhere: what carries tasks to them and replies back."""
