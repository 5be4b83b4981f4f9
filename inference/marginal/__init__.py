"""Groups of coordinates summed out: a posterior by what its groups share, each group an integral of its own.

Where the coordinates u_1 … u_G of many groups are independent given the rest θ, ``p(θ, y)`` is a product of G small
integrals. Importance weights of θ alone then speak of a few dimensions, where joint ones die with their number.
"""
