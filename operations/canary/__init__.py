"""Two versions of a model beside each other: on a share of the requests, on copies of all of them, or as a comparison."""
