import re

from starlette.routing import Route


def test_every_route_is_described_and_every_description_is_routed(api):
    described = {
        (method.upper(), path)
        for path, methods in api.client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    routed = {
        (method, route.path)
        for route in api.app.routes
        for method in route.methods - {"HEAD"}
        if isinstance(route, Route)
    }
    assert len(routed) == sum(len(route.methods - {"HEAD"}) for route in api.app.routes)
    assert described == routed


def test_the_description_is_whole(api):
    text = api.client.get("/openapi.json").text
    said = api.client.get("/openapi.json").json()
    assert said["openapi"] == "3.1.0"
    names = set()
    for path, methods in said["paths"].items():
        for operation in methods.values():
            names.add(operation["operationId"])
            assert operation["summary"].endswith(".")
            assert any(status.startswith("2") for status in operation["responses"])
            in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
            assert bool(operation["security"]) == (operation["x-scope"] != "open")
    assert len(names) == sum(len(methods) for methods in said["paths"].values())
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred <= set(said["components"]["schemas"])
    recommend = said["paths"]["/v1/recommend/{user_id}"]["get"]["parameters"]
    assert {p["name"] for p in recommend} == {
        "user_id",
        "n",
        "surface",
        "category",
        "exclude",
        "ctx",
        "arm",
        "explain",
        "as_of",
    }
    limits = next(p["schema"] for p in recommend if p["name"] == "n")
    assert (limits["minimum"], limits["maximum"], limits["default"]) == (1, 200, 20)


def test_pages_need_nothing_from_elsewhere(api):
    for page in ("/", "/docs"):
        reply = api.client.get(page)
        assert reply.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in reply.headers["content-security-policy"]
        wanted = re.findall(r'(?:src|href)="([^"]+)"', reply.text)
        assert wanted
        for link in wanted:
            assert link.startswith("/")
            assert api.client.get(link).status_code == 200, link
    assert "http" not in "".join(
        api.client.get(f"/static/{f}").text for f in ("index.js", "docs.js", "style.css")
    )
    for path in ("..%2Fapp.py", "app.py", "%2e%2e/app.py"):
        assert api.client.get(f"/static/{path}").status_code == 404
