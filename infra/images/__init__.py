"""The images of the lab and of the product: pulled where a registry answers, built where none does."""
