// Standard error without what libraries have to say.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace ernie {

// While it lives nothing reaches standard error. For a time when the process has one thread: what goes wrong is thrown,
// and the libraries within a backend would write lines of their own beside it.
class Quiet {
 public:
  Quiet() : kept_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) {
    const int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nothing < 0) return;
    if (kept_ >= 0) dup2(nothing, STDERR_FILENO);
    close(nothing);
  }

  ~Quiet() {
    if (kept_ < 0) return;
    dup2(kept_, STDERR_FILENO);
    close(kept_);
  }

  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  int kept_;
};

}  // namespace ernie
