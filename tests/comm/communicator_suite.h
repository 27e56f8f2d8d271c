// What every backend must do: one suite, run over threads and over MPI at several sizes of the world.
#pragma once

#include <functional>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "comm/communicator.h"

namespace thinwire::comm {

// A way to run a world. run() gives `body` a fresh communicator for every rank that lives in this process,
// and destroys none before all bodies of the world have returned. It rethrows what a body threw.
struct SuiteWorld {
  std::string name;
  int size = 1;
  std::function<void(double timeout_s, const std::function<void(Communicator&)>& body)> run;
};

inline void PrintTo(const SuiteWorld& world, std::ostream* out) {
  *out << world.name << " world of " << world.size;
}

class CommunicatorSuite : public testing::TestWithParam<SuiteWorld> {};

// After each of these the communicator is broken; for worlds of two and more.
class CommunicatorFaults : public CommunicatorSuite {};

}  // namespace thinwire::comm
