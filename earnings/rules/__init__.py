"""The rules of money: what is paid, at which price, when, and to whom. Pure: no Django, no clock, no database."""
