"""Good scenarios, one for each backend, that tests change a word of."""

LIVE = """
name = "two"
aggregators = 64
[network]
rate = "20 Mb/s"
[[jobs]]
name = "a"
model = "mlp"
iterations = 10
window = 48
[[jobs]]
name = "b"
model = "cnn"
iterations = 10
window = 16
"""
VIRTUAL = """
name = "two"
aggregators = 64
[network]
hosts = 8
rate = "10 Gb/s"
[job_defaults]
workers = 3
window = 48
[[jobs]]
name = "a"
model = "vgg16"
scale = 0.01
[[jobs]]
name = "b"
model = "resnet50"
scale = 0.01
window = 16
submit_s = 0.5
"""
FAULT = """
[[faults]]
link = "a-0"
direction = "to_switch"
loss = 0.1
"""

BESIDE = """
name = "beside"
[network]
rate = "20 Mb/s"
hosts = 5
[[jobs]]
name = "a"
model = "cnn"
iterations = 4
batch_size = 4
[virtual]
sample_us = 10_000.0
mtu_bytes = 1500
"""  # a job with room for [[flows]] beside it, host-3 and host-4
