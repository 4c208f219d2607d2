"""All routes of a service, those of its included routers too."""

import re


def routes(client):
    """What a service routes by itself: each with its `path`, `methods` and `dependant`."""
    found = []
    for one in client.app.routes:
        found += one.effective_route_contexts() if not hasattr(one, "path") else []
    assert found, "this release of FastAPI keeps its routes elsewhere"
    return found


def filled(path, name="s"):
    """A route's path with a name in it."""
    return re.sub(r"\{[^}]*\}", name, path.replace("{form}", "json"))


def asked(dependant):
    """The names of a route's parameters in the query, those of what it depends on too."""
    below = [name for one in dependant.dependencies for name in asked(one)]
    return [one.alias for one in dependant.query_params] + below
