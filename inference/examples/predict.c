/* cc predict.c -lernie && ./a.out MODEL "a text" */
#include <ernie.h>
#include <stdio.h>

int main(int argc, char** argv) {
  char error[1000], records[1000];
  if (argc != 3) return fprintf(stderr, "predict MODEL TEXT\n"), 2;
  ernie_model* model = ernie_open(argv[1], "{\"threads\": 1}", error, sizeof error);
  if (model == NULL) return fprintf(stderr, "%s\n", error), 1;
  /* A text with quotes or backslashes would have to be escaped. */
  snprintf(records, sizeof records, "[\"%s\"]", argv[2]);
  char* results = ernie_predict(model, records, error, sizeof error);
  if (results == NULL) return fprintf(stderr, "%s\n", error), 1;
  puts(results);
  ernie_free_text(results);
  ernie_free(model);
  return 0;
}
