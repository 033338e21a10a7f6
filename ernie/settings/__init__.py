"""The settings of every program: typed, described once; flags and run.yaml are made from them. Loads no paddle."""
