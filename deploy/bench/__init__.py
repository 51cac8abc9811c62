"""The product beside the bare pipeline: the same hops and nothing else, in interleaved blocks of one run."""
