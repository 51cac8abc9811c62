"""The language of Jingyi: every event and word that crosses from one service to another, defined once."""
