// What a program of your own needs to take part in a world that `thinwire launch` started:
//
//   thinwire launch -n 4 --link 20mbit/40ms -- ./my_program args
//
//   auto session = thinwire::launch::Session::from_environment();
//   auto loop = thinwire::trainer::make_outer_loop({.engine = &session.engine(), ...}, parameters);
//
// Started without a launcher it is a world of one, which is legal everywhere; started as one of several by a
// starter whose world it cannot join, it is an error.
#pragma once

#include <memory>

#include "comm/progress_engine.h"

namespace thinwire::launch {

class Session {
 public:
  // Reads THINWIRE_BACKEND, THINWIRE_LINK and THINWIRE_TIMEOUT_S, which the launcher sets, and the variables
  // of launch/world.h; under a plain mpirun the backend is mpi, with a coordinator named it is grpc. Throws
  // std::invalid_argument that names the variable, comm::CommError if the world cannot be joined.
  static Session from_environment();

  int rank() const { return engine_->rank(); }
  int size() const { return engine_->size(); }
  // Started, behind the link. Must outlive what is built on it.
  comm::ProgressEngine& engine() { return *engine_; }

 private:
  explicit Session(std::unique_ptr<comm::ProgressEngine> engine) : engine_(std::move(engine)) {}
  std::unique_ptr<comm::ProgressEngine> engine_;
};

}  // namespace thinwire::launch
