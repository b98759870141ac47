"""The version of each stage's code: raised when changed code gives other outputs, so that the stage runs again."""

CODE_VERSIONS = {
    "prepare": 7,
    "configure": 13,
    "train_vqvae": 13,
    "train_prior": 17,
    "check_memorization": 19,
    "train_vocoder": 8,
    "assemble": 2,
}

# Stages by what they were called before: files and commands from then still name them so.
FORMER_NAMES = {"register": "assemble"}
