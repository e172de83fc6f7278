"""From table files to the rows that a surrogate is trained, validated and tested on."""
