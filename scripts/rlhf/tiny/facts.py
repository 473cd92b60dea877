"""What there is to know in the tiny world: tables of facts, each a mapping from what is asked to the right answer."""

OPPOSITES = dict(
    pair.split("-")
    for pair in (
        "hot-cold big-small tall-short fast-slow old-young happy-sad rich-poor light-dark strong-weak hard-soft "
        "early-late full-empty open-closed clean-dirty dry-wet loud-quiet near-far high-low wide-narrow thick-thin "
        "good-bad right-left up-down day-night first-last sweet-sour true-false love-hate win-lose buy-sell"
    ).split()
)

PLURALS = dict(
    pair.split("-")
    for pair in (
        "cat-cats dog-dogs house-houses tree-trees child-children mouse-mice foot-feet tooth-teeth man-men woman-women "
        "goose-geese leaf-leaves knife-knives wolf-wolves baby-babies city-cities story-stories box-boxes bus-buses "
        "glass-glasses potato-potatoes hero-heroes star-stars door-doors ox-oxen book-books car-cars bird-birds "
        "key-keys toy-toys"
    ).split()
)

PAST_TENSES = dict(
    pair.split("-")
    for pair in (
        "go-went see-saw eat-ate run-ran take-took give-gave make-made come-came find-found think-thought know-knew "
        "buy-bought sing-sang swim-swam write-wrote speak-spoke drink-drank begin-began fly-flew grow-grew fall-fell "
        "keep-kept leave-left tell-told walk-walked play-played jump-jumped call-called help-helped open-opened"
    ).split()
)

COLOURS = dict(
    pair.split("-")
    for pair in (
        "grass-green snow-white coal-black blood-red banana-yellow sky-blue carrot-orange chocolate-brown lemon-yellow "
        "tomato-red cucumber-green milk-white sea-blue night-black strawberry-red pumpkin-orange mud-brown frog-green "
        "sun-yellow flamingo-pink plum-purple salt-white spinach-green cherry-red crow-black elephant-grey "
        "grape-purple pig-pink bear-brown ash-grey"
    ).split()
)

CAPITALS = dict(
    pair.split("-")
    for pair in (
        "France-Paris Germany-Berlin Italy-Rome Spain-Madrid Portugal-Lisbon Greece-Athens Austria-Vienna "
        "Poland-Warsaw Hungary-Budapest Norway-Oslo Sweden-Stockholm Finland-Helsinki Denmark-Copenhagen "
        "Ireland-Dublin England-London Russia-Moscow China-Beijing Japan-Tokyo India-Delhi Egypt-Cairo Kenya-Nairobi "
        "Canada-Ottawa Cuba-Havana Peru-Lima Chile-Santiago Turkey-Ankara Iran-Tehran Iraq-Baghdad Nepal-Kathmandu "
        "Belgium-Brussels"
    ).split()
)

YOUNG = dict(
    pair.split("-")
    for pair in (
        "cat-kitten dog-puppy cow-calf horse-foal sheep-lamb goat-kid pig-piglet hen-chick duck-duckling "
        "goose-gosling lion-cub kangaroo-joey deer-fawn frog-tadpole swan-cygnet owl-owlet eagle-eaglet hare-leveret"
    ).split()
)

SPANISH = dict(
    pair.split("-")
    for pair in (
        "water-agua house-casa dog-perro cat-gato bread-pan milk-leche book-libro friend-amigo sun-sol moon-luna "
        "night-noche day-dia fire-fuego tree-arbol flower-flor table-mesa door-puerta street-calle city-ciudad "
        "world-mundo hand-mano head-cabeza heart-corazon king-rey queen-reina love-amor time-tiempo year-ano "
        "red-rojo green-verde"
    ).split()
)

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()

CATEGORIES = {
    "fruits": "apple banana cherry grape lemon mango orange peach pear plum".split(),
    "animals": "cat dog horse lion tiger mouse rabbit bear wolf fox".split(),
    "colours": "red green blue yellow purple pink brown black white grey".split(),
    "vegetables": "carrot onion potato cabbage spinach pumpkin tomato garlic leek bean".split(),
    "tools": "hammer saw drill wrench pliers chisel axe spade rake screwdriver".split(),
    "drinks": "water milk juice tea coffee cola lemonade cocoa wine beer".split(),
    "sports": "football tennis hockey golf chess boxing rowing skiing cycling running".split(),
    "metals": "iron copper gold silver tin lead zinc nickel steel bronze".split(),
}

NAMES = (
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mary Nina Oscar Paul Rosa Sam Tina Victor "
    "Wendy Simon Laura Peter"
).split()

NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}
