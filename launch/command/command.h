// A command of the program. Commands register in command/registry.cpp, a line each; each has a file of its
// name.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/errors.h"

namespace thinwire::launch {

// Does the work; returns an exit code. What it throws is reported by launch/program.cpp.
using Run = std::function<int()>;

class CommandLine;

struct Command {
  std::string_view name;
  std::string_view summary;  // one line
  std::string_view example;
  Run (*declare)(const CommandLine& line) = nullptr;  // adds options; the Run is called after parsing
  bool takes_program = false;                         // arguments after "--" are its own
  std::vector<Command> parts = {};                    // `bench train`, ...; then declare is null
};

const std::vector<Command>& commands();

Run declare_train(const CommandLine& line);
Run declare_launch(const CommandLine& line);
Run declare_resume(const CommandLine& line);
Run declare_coordinator(const CommandLine& line);
Run declare_certs(const CommandLine& line);
Run declare_eval(const CommandLine& line);
Run declare_generate(const CommandLine& line);
Run declare_export(const CommandLine& line);
Run declare_inspect(const CommandLine& line);
Run declare_verify(const CommandLine& line);
Run declare_bench_train(const CommandLine& line);
Run declare_bench_codec(const CommandLine& line);
Run declare_bench_collective(const CommandLine& line);
Run declare_bench_overlap(const CommandLine& line);

}  // namespace thinwire::launch
