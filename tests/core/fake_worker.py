"""A worker without a network, which dies or fails of images with telling names."""

import json
import os
import signal
import sys


def say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


json.loads(input())  # the job
for line in sys.stdin:
    request = json.loads(line)
    deadly = dict(request["deadly"])
    shard = json.loads(request["shard"])
    images = []
    for key, name, _, _, boxes in shard["images"]:
        say({"begin": key})
        if name.startswith("deadly") and key not in deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "fault":
            say({"fault": "the disk is full"})
            raise SystemExit
        failed = [{"annotation": box[0], "reason": deadly[key]} for box in boxes if key in deadly]
        images.append({"file_name": name, "boxes": len(boxes), "failed": failed})
    say({"report": {"images": images}})
