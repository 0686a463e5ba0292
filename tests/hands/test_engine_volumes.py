"""What becomes of volumes when a container of ours is removed."""

import secrets

import docker

from activities.engine import Engine, Job
from tests.hands.chat_stack import ChatStack


def test_a_removed_job_leaves_no_nameless_volume_and_keeps_every_named_one(
    chat: ChatStack, client: docker.DockerClient
) -> None:
    engine = Engine(client)
    # A volume that was nameless once and is mounted by its name is somebody's data.
    image = client.containers.get(chat.container("postgres")).attrs["Image"]
    (path,) = client.images.get(image).attrs["Config"]["Volumes"]
    named = client.volumes.create(secrets.token_hex(32))
    name = f"dr-test-{secrets.token_hex(4)}"
    binds = {str(named.name): "/named:rw"}
    job = Job(name=name, image_id=image, entrypoint=("true",), command=(), binds=binds)
    try:
        state, _ = engine.ensure_job(job)
        nameless = next(mount["Name"] for mount in state.raw["Mounts"] if mount["Destination"] == path)
        engine.remove(name, force=True)
        assert engine.volume(nameless) is None
        assert engine.volume(str(named.name)) is not None
    finally:
        engine.remove(name, force=True)
        named.remove(force=True)
