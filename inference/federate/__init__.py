"""One posterior of data that stay where they are: sites tell what their rows say of the parameters, never the rows."""
