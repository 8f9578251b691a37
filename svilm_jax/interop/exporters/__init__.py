"""Export of trained models: StableHLO, ONNX and SavedModel programs, and the model card."""
