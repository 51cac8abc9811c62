"""The services of Jingyi; each folder reads as its own business and none imports another."""
