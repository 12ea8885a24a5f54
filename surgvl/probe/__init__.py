"""How a frozen encoder is read out: tokens once, one small readout for all questions, scores by video."""
