"""From points reached to distinct, judged and described designs, and the report of them."""
