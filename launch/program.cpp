#include "launch/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/config/config.h"
#include "launch/config/nearest.h"
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

std::vector<std::string> names_of(const std::vector<Command>& among) {
  std::vector<std::string> names;
  for (const Command& command : among) names.emplace_back(command.name);
  return names;
}

std::string joined_name(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + " " + name;
}

// The command that the words begin with: "bench train", or as much of it as is one; "" for none. Throws
// UsageError that suggests the nearest for another word, and one that lists all where a part is missing.
std::string require_command(const std::vector<std::string>& words) {
  const std::vector<Command>* among = &commands();
  std::string name;
  for (const std::string& word : words) {
    if (word.starts_with('-')) return name;
    const auto command =
        std::find_if(among->begin(), among->end(), [&](const Command& known) { return known.name == word; });
    if (command == among->end()) {
      const std::string slip = suggestion(word, names_of(*among));
      throw UsageError(fmt::format("unknown command {}; {}", joined_name(name, word),
                                   slip.empty() ? "expected one of " + joined(names_of(*among))
                                                : fmt::format("did you mean {}?", joined_name(name, slip))));
    }
    name = joined_name(name, word);
    if (command->parts.empty()) return name;
    among = &command->parts;
  }
  throw UsageError(fmt::format("expected a command{}, one of {}", name.empty() ? "" : " after " + name,
                               joined(names_of(*among))));
}

// The subcommand that was given, the innermost.
const CLI::App& innermost(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : innermost(*given.front());
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // not for users
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// What a line that could not be read most likely has wrong: an option that is none before all.
std::string problem_of(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& chosen = innermost(app);
  for (const std::string& word : chosen.remaining()) {
    if (!word.starts_with('-') || word == "-") continue;
    const std::string option = word.substr(0, word.find('='));
    const std::string slip = suggestion(option, option_names(chosen));
    return fmt::format("unknown option {}{}", option,
                       slip.empty() ? "" : fmt::format("; did you mean {}?", slip));
  }
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !chosen.remaining().empty())
    return fmt::format("expected nothing more, found {}", joined(chosen.remaining()));
  return error.what();
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
                         run = command.declare(CommandLine(*app, after_dashes))] {
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
  std::string name;
  try {
    name = require_command(own);
    std::reverse(own.begin(), own.end());  // CLI11 takes them from the back
    app.parse(own);
  } catch (const CLI::Success& wish) {  // --help, --version
    return app.exit(wish, std::cout, std::cerr);
  } catch (const UsageError& error) {
    return fail("", fmt::format("{} (see thinwire --help)", error.what()), kUsage);
  } catch (const CLI::ParseError& error) {
    return fail(
        name,
        fmt::format("{} (see thinwire {}{}--help)", problem_of(app, error), name, name.empty() ? "" : " "),
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
