// Text from a model.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/open_model.h"
#include "trainer/generate.h"

namespace thinwire::launch {
namespace {

struct GenerateCommand {
  std::string model, prompt;
  trainer::GenerateOptions how;
  bool one_line = false;
  int count = 1;
  int threads = 1;
  bool json = false;
};

int generate(const GenerateCommand& command) {
  const OpenModel open = open_model(command.model, command.threads);
  nlohmann::json texts = nlohmann::json::array();
  trainer::GenerateOptions how = command.how;
  if (command.one_line) how.stop = '\n';
  for (int i = 0; i < command.count; ++i, ++how.seed) {
    const std::string text = trainer::generate(*open.model, *open.tokenizer, command.prompt, how);
    if (command.json) {
      texts.push_back(
          {{"prompt", command.prompt}, {"text", text}, {"seed", how.seed}, {"step", step_of(open)}});
    } else {
      fmt::print("{}{}\n", command.prompt, text);
    }
  }
  // A model of bytes may write what is no text.
  if (command.json) fmt::print("{}\n", texts.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return kSuccess;
}

}  // namespace

Run declare_generate(const CommandLine& line) {
  auto command = std::make_shared<GenerateCommand>();
  line.option("model", command->model, "A run, a checkpoint or an exported file").required();
  line.option("--prompt", command->prompt, "What the text goes on from; empty: a line's start");
  line.option("--max-tokens", command->how.max_tokens, "Longest text").check(whole_number(1));
  line.option("--temperature", command->how.temperature, "0: always the likeliest token")
      .check(number_of_at_least(0));
  line.option("--top-k", command->how.top_k, "Draw from the k likeliest tokens; 0: from all")
      .check(whole_number(0));
  line.option("--seed", command->how.seed, "Of the first text; the next has the next seed")
      .check(whole_number(0, std::numeric_limits<std::int64_t>::max()));
  line.option("--count", command->count, "Texts").check(whole_number(1));
  line.flag("--one-line", command->one_line, "End at the end of the line");
  line.option("--threads", command->threads, "Compute threads").check(whole_number(1));
  line.flag("--json", command->json, "A list of {prompt, text, seed, step} on standard output");
  return [command] { return generate(*command); };
}

}  // namespace thinwire::launch
