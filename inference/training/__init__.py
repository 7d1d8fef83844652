"""LoRA training with PEFT: rows in, an adapter folder that can be registered out."""
