#include "launch/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "launch/command/command.h"
#include "launch/config/config.h"
#include "launch/error_words.h"
#include "launch/errors.h"
#include "launch/line_writer.h"
#include "launch/version.h"

namespace thinwire::launch {
namespace {

struct Chosen {
  std::string name;  // "bench train"
  Run run;
};

int fail(const std::string& command, const std::string& what, int code) {
  const std::string text =
      fmt::format("thinwire{}{}: error: {}\n", command.empty() ? "" : " ", command, what);
  std::fflush(nullptr);
  standard_error().write(text, LineWriter::Kind::kKept);
  return code;
}

// Runs the command; what it throws becomes a message and a code.
int run_chosen(const Chosen& chosen) {
  try {
    return chosen.run();
  } catch (const std::exception& error) {
    return fail(chosen.name, words_of(error), exit_code_of(error));
  }
}

// Fills parent's subcommands; the callback of the one that is given sets `chosen`.
void declare(CLI::App& parent, const std::vector<Command>& commands, const std::string& prefix,
             const std::vector<std::string>& after_dashes, Chosen& chosen) {
  parent.require_subcommand(1);
  for (const Command& command : commands) {
    CLI::App* app = parent.add_subcommand(std::string(command.name), std::string(command.summary));
    app->footer("Example:\n  " + std::string(command.example));
    const std::string name = prefix + std::string(command.name);
    if (!command.parts.empty()) {
      declare(*app, command.parts, name + " ", after_dashes, chosen);
      continue;
    }
    app->final_callback([&chosen, &after_dashes, name, takes = command.takes_program,
                         run = command.declare({*app, after_dashes})] {
      if (!takes && !after_dashes.empty()) throw CLI::ExtrasError({"--"});
      chosen = {name, run};
    });
  }
}

int parse_and_run(const std::vector<std::string>& arguments) {
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  std::vector<std::string> own(arguments.begin(), dashes);
  std::vector<std::string> after_dashes;
  if (dashes != arguments.end()) after_dashes.assign(dashes + 1, arguments.end());

  CLI::App app("Trains one model on workers joined by slow links.", "thinwire");
  app.set_version_flag("--version", kVersion);
  app.add_flag_callback(
      "--config-reference",
      [] {
        fmt::print("{}", config_reference());
        throw CLI::Success();
      },
      "Print the reference of the config file (docs/config.md)");
  app.option_defaults()->always_capture_default();  // --help shows what holds without the option
  Chosen chosen;
  declare(app, commands(), "", after_dashes, chosen);
  try {
    std::reverse(own.begin(), own.end());  // CLI11 takes them from the back
    app.parse(own);
  } catch (const CLI::Success& wish) {  // --help, --version
    return app.exit(wish, std::cout, std::cerr);
  } catch (const CLI::ParseError& error) {
    const auto given = app.get_subcommands();
    const std::string name = given.empty() ? "" : given.front()->get_name();
    return fail(name,
                fmt::format("{} (see thinwire {}{}--help)", error.what(), name, name.empty() ? "" : " "),
                kUsage);
  }
  return run_chosen(chosen);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  const int code = parse_and_run(arguments);
  flush_standard_writers();
  return code;
}

}  // namespace thinwire::launch
