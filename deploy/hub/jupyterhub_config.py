"""JupyterHub on one machine, for a try-out; `./course hub` starts it and fills in the environment that this file reads.

    HPML_HUB            the class folder (hpml/hub/folder.py says what is in it)
    HPML_HUB_RUN        a folder that lives as long as the hub: the referee's socket
    HPML_HUB_PORT       where people log in, on loopback only
    HPML_HUB_PROXY      configurable-http-proxy's command
    HPML_HUB_MEMORY     bytes for each student
    HPML_HUB_CORES      processor cores for each student
    HPML_HUB_IDLE       seconds without activity after which a server is stopped
    HPML_HUB_GROUPS     name of the hub's control groups
    HPML_HUB_QUEUE      the engine of the queue for check(…, where="gpu"); empty: there is none

For people whom you do not know, and for a network, take the profiles for Slurm (slurm_config.py) or Kubernetes (../kubernetes), with
your site's login.
"""

import atexit
import os
import sys
from pathlib import Path

from jupyterhub.utils import random_port

from hpml import course
from hpml.hub import checks
from hpml.hub.folder import INSTRUCTOR, ClassFolder
from hpml.hub.limits import Groups
from hpml.hub.login import ClassAuthenticator
from hpml.hub.spawner import WalledSpawner

there = ClassFolder(Path(os.environ["HPML_HUB"]))
people = there.people()
groups = Groups(os.environ["HPML_HUB_GROUPS"])
atexit.register(groups.remove)
c = get_config()  # noqa: F821

# Everything listens on loopback: the door, the hub behind it, the proxy's own interface.
c.JupyterHub.bind_url = f"http://127.0.0.1:{os.environ['HPML_HUB_PORT']}"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = random_port()
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{random_port()}"
c.ConfigurableHTTPProxy.command = os.environ["HPML_HUB_PROXY"].split("\n")
c.ConfigurableHTTPProxy.pid_file = str(there.hub / "proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{there.hub / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(there.hub / "cookie_secret")
c.JupyterHub.cleanup_servers = True
c.JupyterHub.cleanup_proxy = True

c.JupyterHub.template_vars = {"announcement_login": course.load().title}
c.JupyterHub.authenticator_class = ClassAuthenticator
c.ClassAuthenticator.passwords = {p.name: p.password for p in people.values()}
c.Authenticator.allowed_users = set(people)
c.Authenticator.admin_users = {INSTRUCTOR}
c.Authenticator.delete_invalid_users = True

c.JupyterHub.spawner_class = WalledSpawner
c.WalledSpawner.folder = str(there.root)
c.WalledSpawner.referee = os.environ["HPML_HUB_RUN"]
c.WalledSpawner.groups = groups
c.WalledSpawner.memory = float(os.environ["HPML_HUB_MEMORY"])
c.WalledSpawner.cores = float(os.environ["HPML_HUB_CORES"])
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 600            # a whole class starts at the same moment, and all of them share this machine's cores

idle = os.environ["HPML_HUB_IDLE"]
c.JupyterHub.load_roles = [
    {"name": "idle-culler", "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"], "services": ["idle-culler"]},
]
c.JupyterHub.services = [
    {"name": "idle-culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={idle}"]},
]

if queue := os.environ["HPML_HUB_QUEUE"]:
    checks.beside(c, queue, random_port(), dict(os.environ))
