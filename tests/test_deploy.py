"""The files of deploy/ are well-formed, keep to what operators expect of them, and name options that exist."""

import configparser
import contextlib
import io
import re
import shlex
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from backuppeer.cli.main import main
from backuppeer.signaling.server.caps import Caps

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+\.\d+[\w.-]*$")


@pytest.fixture(scope="module")
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string((DEPLOY / "backup-peer-server.service").read_text("utf-8"))
    return parser


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def steps():
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


@pytest.fixture(scope="module")
def options():
    """All options of `backup-peer server`."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(["server", "--help"])
    return set(re.findall(r"--[a-z][a-z-]*", out.getvalue()))


def test_the_unit_starts_the_server_as_nobody_in_particular_and_lets_it_end_in_peace(unit):
    service = unit["Service"]
    assert service["DynamicUser"] == "yes"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert "-HUP" in service["ExecReload"]
    assert service["KillSignal"] == "SIGTERM"
    assert int(service["TimeoutStopSec"]) > 10, "longer than the server takes to send everybody elsewhere"
    assert int(service["LimitNOFILE"]) > 60_000
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_itself_has_nothing_to_say_about_the_unit(unit, tmp_path):
    # The program is not installed here; of all else systemd would name what it does not know.
    text = (DEPLOY / "backup-peer-server.service").read_text("utf-8")
    copy = tmp_path / "backup-peer-server.service"
    copy.write_text(text.replace(shlex.split(unit["Service"]["ExecStart"])[0], "/bin/true"))
    words = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_and_the_image_name_options_that_exist(unit, steps, compose, options):
    words = shlex.split(unit["Service"]["ExecStart"])
    assert words[1] == "server"
    named = [word for word in words if word.startswith("--")]
    for step, rest in steps:
        if step in ("ENTRYPOINT", "CMD"):
            named += [word for word in yaml.safe_load(rest) if word.startswith("--")]
    for node in ("node-1", "node-2"):
        named += [word.partition("=")[0] for word in compose["services"][node]["command"]]
    assert named
    assert set(named) <= options


def test_the_image_is_pinned_runs_as_nobody_and_tells_whether_it_is_ready(steps):
    bases = [rest.split()[0] for step, rest in steps if step == "FROM"]
    assert all(PINNED.match(base) for base in bases), bases
    after_last_base = [step for step, _ in steps[max(i for i, (step, _) in enumerate(steps) if step == "FROM") :]]
    for needed in ("USER", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"):
        assert needed in after_last_base
    (user,) = [rest for step, rest in steps if step == "USER"]
    assert user not in ("root", "0")
    assert after_last_base.index("USER") < after_last_base.index("ENTRYPOINT")
    installs = [rest for step, rest in steps if step == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in rest for rest in installs)
    assert not [rest for step, rest in steps if step == "ADD"]


def test_what_the_image_copies_is_there(steps):
    for step, rest in steps:
        if step == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources)


def test_services_are_pinned_checked_and_may_do_nothing_they_need_not(compose):
    services = compose["services"]
    assert {"node-1", "node-2", "valkey", "proxy"} <= set(services)
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
        if "build" not in service:
            assert PINNED.match(service["image"]), name
            assert "healthcheck" in service, name
    published = [name for name, service in services.items() if service.get("ports")]
    assert published == ["proxy"], "nobody reaches the store or a node but through the proxy"
    assert services["proxy"]["networks"]["inside"]["ipv4_address"] in " ".join(services["node-1"]["command"])


def test_each_node_has_a_relay_at_a_name_of_its_own_that_the_proxy_leads_to_it_alone(compose):
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    for node in ("node-1", "node-2"):
        assert f"--relay-url=wss://{node}.${{SIGNALING_NAME}}" in compose["services"][node]["command"]
        site = text.partition(f"\n{node}.{{$SIGNALING_NAME}} {{")[2].partition("\n}")[0]
        assert f"reverse_proxy {node}:8443 {{" in site
        assert {"import guarded", "import passed-on"} <= {line.strip() for line in site.splitlines()}


def test_no_secret_stands_in_a_file():
    for path in DEPLOY.iterdir():
        text = path.read_text("utf-8")
        assert not re.search(r"(?i)(password|secret)\s*[:=]\s*[\w\"']", text.replace("PASSWORD@", "")), path


def test_the_proxy_says_itself_where_a_client_comes_from_and_hides_the_figures():
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    assert text.count("{") == text.count("}")
    assert "header_up X-Forwarded-For {remote_host}" in text
    assert "respond /metrics 404" in text
    assert "header_up Host {hostport}" in text


def test_every_limit_and_option_of_a_server_is_explained(options):
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    unexplained = [field.name for field in fields(Caps) if f"`{field.name}`" not in text and field.name != "stamp_bits"]
    assert unexplained == []
    own = options - {"--help", "--home", "--server", "--json", "--yes", "--version"}
    assert sorted(option for option in own if f"`{option}" not in text) == []
