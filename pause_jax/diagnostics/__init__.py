"""How a trained run uses its pauses: answers that they change, attention, and what each layer would answer."""
