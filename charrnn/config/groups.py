"""What several commands share: ranges and names of precisions."""

MAX_SEED = 2**63 - 1


PRECISIONS = ("auto", "float32", "tf32", "bfloat16", "float16")


PRECISION = (
    "Of products: 16 bits are less exact, and faster where the processor or GPU has them; auto takes float32, and tf32"
    " to train on a GPU."
)
