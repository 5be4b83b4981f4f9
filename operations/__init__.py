"""Operations: what is deployed, who may trust it, and whether it still holds."""
