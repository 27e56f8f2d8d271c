// What a launcher of processes makes of a request to stop, which may come to it, to its workers, or to both:
// says it once, passes its own on once, and knows when there is nothing to wait for.
#pragma once

#include <string>

#include "trainer/worker.h"

namespace thinwire::launch {

// The line that says a request was heard.
std::string stopping_text(int signal);

class StopRequest;
// For a program of the user's that was asked to stop, however it ended.
void throw_if_stopped(const StopRequest& request);

// Thread safety: none.
class StopRequest {
 public:
  // What is known now. own, again: of the launcher's StopSignals. of_workers: a signal that a worker heard
  // and the launcher did not send. begun: the workers train, so that there may be something to keep.
  struct News {
    int own = 0;
    int again = 0;
    int of_workers = 0;
    bool begun = true;
  };
  struct Todo {
    bool announce = false;  // once
    bool pass_on = false;   // once
    bool end_all = false;   // from then on
  };
  Todo look(const News& news);

  int signal() const { return signal_; }  // the first that was heard; 0: none
  int again() const { return again_; }
  // It came before the workers trained.
  bool early() const { return early_; }
  // Of a run that `early` ended.
  trainer::RunResult early_result() const;

 private:
  int signal_ = 0;
  int again_ = 0;
  bool early_ = false;
  bool passed_on_ = false;
};

}  // namespace thinwire::launch
