"""What runs at a hospital: its patients are read here and stay here."""

import pandas as pd
from elboroom.inference.federate.site import Site
from elboroom.operations.federation.flower import site_app

from hospitals.model import recovery


def hospital(context):
    """The patients of this node's file."""
    rows = pd.read_csv(context.node_config["rows"])
    return Site(str(context.node_config["name"]), recovery(rows.age, rows.dose, rows.recovered))


app = site_app(hospital)
