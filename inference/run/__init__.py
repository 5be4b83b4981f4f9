"""What a fit runs on: its deadline, its trail, its checkpoint."""
