"""The options of Pytorch-BERT-Classification (IMDB, Naver)."""
