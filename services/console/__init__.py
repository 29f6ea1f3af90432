"""Console: pages for the people who run Attune, in a process of its own."""
