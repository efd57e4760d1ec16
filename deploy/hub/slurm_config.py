"""JupyterHub in front of a Slurm cluster: everybody's server is a job, on a CPU node by default, on a GPU node on request.

For a hub on the cluster's login or service node, run as its own account that may say `sudo -u USER sbatch`, `squeue` and `scancel`
(batchspawner's documentation has the lines for sudoers). Needs, beside the course in a folder that all nodes share:

    uv pip install --python .venv/bin/python batchspawner
    jupyterhub --config deploy/hub/slurm_config.py

Take a copy and change what is written in capitals in SITE. Where the course, the exchange and the instructor's folder lie and what the
exchange's permissions have to be is said in docs/hub.md. Nobody has to be locked in here: Slurm runs every job as its own user.
"""

import getpass
import os
import socket
from pathlib import Path
from typing import Any

import batchspawner  # also registers the address that jobs report their port to

from hpml.hub import checks

COURSE = Path(os.environ.get("HPML_ROOT", "/opt/course"))       # shared by all nodes; students get a release, not the checkout
SITE: dict[str, Any] = {
    "account": "",                      # YOUR_ACCOUNT, where the cluster wants one
    "instructors": {"INSTRUCTOR"},
    "hub_address": "",                  # the hub's name as the nodes reach it; empty: this machine's own
    "queue_port": 8091,                 # where check(…, where="gpu") asks for a GPU node, of the kind in course.yml's `engine:`; 0: nowhere
}

# What a person may ask for. `python` is the environment that the server runs in: the GPU one holds TensorFlow with CUDA
# (docs/many-nodes.md says how to make it) and needs jupyterlab, jupyterhub and batchspawner as well.
PROFILES: dict[str, dict[str, Any]] = {
    "cpu": {"title": "A CPU node: 2 cores, 8 GB, 4 hours", "python": ".venv",
            "ask": {"partition": "cpu", "nprocs": "2", "memory": "8G", "runtime": "4:00:00", "gres": ""}},
    "gpu": {"title": "A GPU node: 1 GPU, 8 cores, 32 GB, 2 hours", "python": ".venv-gpu",
            "ask": {"partition": "gpu", "nprocs": "8", "memory": "32G", "runtime": "2:00:00", "gres": "gpu:1"}},
}
DEFAULT = "cpu"

FORM = '<label for="profile">Where should your server run?</label>\n<select class="form-control" name="profile" id="profile">\n' + "".join(
    f'<option value="{key}"{" selected" if key == DEFAULT else ""}>{profile["title"]}</option>\n' for key, profile in PROFILES.items()
) + "</select>"


def chosen(form: dict[str, list[str]]) -> dict[str, str]:
    """The form that was sent → the spawner's options: a name, nothing else."""
    return {"profile": form.get("profile", [DEFAULT])[0]}


def fill_in(spawner: Any) -> None:
    """Turn the name into what the job asks for. Options also come through the hub's interface, where no form has looked at them, and
    batchspawner writes all of them into the job script: so all but a known name is dropped here."""
    name = spawner.user_options.get("profile", DEFAULT)
    name = name if isinstance(name, str) and name in PROFILES else DEFAULT
    spawner.user_options = {"profile": name}
    for option, value in PROFILES[name]["ask"].items():
        setattr(spawner, f"req_{option}", value)
    programs = COURSE / PROFILES[name]["python"] / "bin"
    spawner.batchspawner_singleuser_cmd = str(programs / "batchspawner-singleuser")
    spawner.cmd = [str(programs / "jupyterhub-singleuser")]


c = get_config()  # noqa: F821

c.JupyterHub.spawner_class = batchspawner.SlurmSpawner
c.Spawner.options_form = FORM
c.Spawner.options_from_form = chosen
c.Spawner.pre_spawn_hook = fill_in
c.Spawner.default_url = "/lab"
c.Spawner.notebook_dir = "~"
c.Spawner.start_timeout = 600           # a job may wait in the queue
c.Spawner.http_timeout = 120
c.SlurmSpawner.req_account = SITE["account"]
c.SlurmSpawner.batch_script = """#!/bin/bash
#SBATCH --job-name=hub-{{username}}
#SBATCH --output={{homedir}}/.hub-%j.log
#SBATCH --chdir={{homedir}}
#SBATCH --export={{keepvars}}
#SBATCH --get-user-env=L
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --partition={{partition}}
#SBATCH --cpus-per-task={{nprocs}}
#SBATCH --mem={{memory}}
#SBATCH --time={{runtime}}
{% if gres %}#SBATCH --gres={{gres}}
{% endif %}{% if account %}#SBATCH --account={{account}}
{% endif %}
set -euo pipefail
{{cmd}}
"""

# Jobs reach the hub over the cluster's network, so the hub listens there; people come through the site's web server, with TLS.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.hub_ip = SITE["hub_address"] or "0.0.0.0"
if SITE["hub_address"]:
    c.JupyterHub.hub_connect_ip = SITE["hub_address"]
c.JupyterHub.cleanup_servers = False    # jobs outlive a restart of the hub
c.Authenticator.admin_users = SITE["instructors"]
c.Authenticator.allow_all = True        # whoever has an account on the cluster, by PAM, unless the site names another authenticator

# A GPU that nobody uses is given back.
c.JupyterHub.load_roles = [
    {"name": "idle-culler", "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"], "services": ["idle-culler"]},
]
c.JupyterHub.services = [
    {"name": "idle-culler", "command": [str(COURSE / ".venv/bin/python"), "-m", "jupyterhub_idle_culler", "--timeout=1800"]},
]

# Checks from a CPU node that a GPU node measures: jobs of the hub's account, which is the only one that may read labs/.
if SITE["queue_port"]:
    own = {"HPML_ROOT": str(COURSE), "HOME": os.path.expanduser("~"), "USER": getpass.getuser()}
    checks.beside(c, "slurm", SITE["queue_port"], own, c.JupyterHub.hub_ip, SITE["hub_address"] or socket.gethostname())
