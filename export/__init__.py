"""A trained student -> files that serve: ONNX, INT8, the gate, the model card, the seal."""
