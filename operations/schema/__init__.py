"""What rows may hold: columns of the training data, and what is wrong with rows that are not like them."""
