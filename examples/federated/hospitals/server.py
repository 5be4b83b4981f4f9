"""What runs at the server: it has the model, and no patient."""

from elboroom.operations.federation.flower import Flower
from flwr.serverapp import ServerApp

import elboroom as er
from hospitals.model import recovery

app = ServerApp()


@app.main()
def main(grid, context):
    """Fit, print, save."""
    asked = context.run_config
    flower = Flower(grid, num_sites=int(asked["sites"]), seconds=float(asked["seconds"]))
    posterior = er.federate(flower, program=recovery(age=[0.0], dose=[0.0], recovered=[0]))
    print(posterior.summary().to_string())
    print(posterior.findings)
    posterior.save(str(asked["out"]))
