"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 6,
    "configure": 12,
    "train_vqvae": 12,
    "train_prior": 15,
    "check_memorization": 18,
    "train_vocoder": 7,
    "assemble": 2,
}

# Stages by what they were called before: files and commands from then still name them so.
FORMER_NAMES = {"register": "assemble"}
