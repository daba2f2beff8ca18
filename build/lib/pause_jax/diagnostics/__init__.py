"""What a trained run does with its pauses: answers that they change, attention, what each layer would answer."""
