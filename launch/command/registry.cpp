#include "launch/command/command.h"

namespace thinwire::launch {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"train", "Train as one worker in this process",
       "thinwire train examples/pretrain.toml --set comm.backend=threads --set inner.steps=20",
       declare_train},
      {"launch", "Start a run with N workers, or N processes of your own program",
       "thinwire launch examples/pretrain.toml -n 4 --link 20mbit/40ms\n  thinwire launch -n 4 -- "
       "./my_program args",
       declare_launch, true},
      {"resume", "Go on from the newest whole checkpoint of a run", "thinwire resume runs/wordnet",
       declare_resume},
      {"coordinator", "Where workers on several machines find each other, without MPI",
       "thinwire coordinator -n 2 --listen tokyo:7000 --tls certs/coordinator --token-file token",
       declare_coordinator},
      {"certs", "Certificates for a coordinator and its workers",
       "thinwire certs -o certs -n 2 --host tokyo paris", declare_certs},
      {"eval", "Loss, perplexity and bits per byte of a model", "thinwire eval runs/wordnet --data other.txt",
       declare_eval},
      {"generate", "Text from a model", "thinwire generate runs/wordnet --prompt \"a small\" --one-line",
       declare_generate},
      {"export", "Write a model to one file for other programs",
       "thinwire export runs/wordnet --to safetensors -o wordnet.safetensors", declare_export},
      {"inspect", "Say what a file or a run holds",
       "thinwire inspect runs/wordnet/checkpoints/step-600/worker-0", declare_inspect},
      {"verify", "Say which checkpoints of a run are whole", "thinwire verify runs/wordnet", declare_verify},
      {"bench",
       "Measure speed beside the machine's limits and other programs",
       "thinwire bench train --peers",
       nullptr,
       false,
       {{"train", "Training speed of one worker at three sizes",
         "thinwire bench train --peers --python build/venv/bin/python", declare_bench_train},
        {"codec", "Encode and decode speed of every codec", "thinwire bench codec --codec e3m0 int4",
         declare_bench_codec},
        {"collective", "Means over processes of this machine, beside other all-reduces",
         "thinwire bench collective --peers --python build/venv/bin/python", declare_bench_collective},
        {"overlap", "Compute utilisation by outer method and link, and the traffic",
         "thinwire bench overlap examples/pretrain.toml --rate 20mbit --rtt 40ms --workers 2 --svg "
         "overlap.svg",
         declare_bench_overlap}}},
  };
  return all;
}

}  // namespace thinwire::launch
